"""Reference training programs of the four papers; each is one command."""
