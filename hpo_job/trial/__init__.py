"""What is stored with a trial: attributes, phases, timings."""
