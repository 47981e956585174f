"""Row statistics of logits: a plain reference and the fast form of it."""
