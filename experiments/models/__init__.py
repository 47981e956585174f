"""flax nnx modules that know nothing of losses or data."""
