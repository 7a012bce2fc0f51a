"""The benchmarks' own programs: what they compare with must run."""
