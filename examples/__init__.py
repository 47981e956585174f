"""Small complete programs: one framework or one need each; see README.md here."""
