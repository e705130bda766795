"""Voice states in, transitions out: who is where, and what each change of it means. Does no I/O."""
