"""A study's workers on a Kubernetes cluster; nothing else in the project talks to one."""
