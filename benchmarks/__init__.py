"""Speed and memory, measured as ratios of candidates that alternate in one run."""
