"""Tasks of instruction tuning: readers, splits, mixtures, prompts and packing."""
