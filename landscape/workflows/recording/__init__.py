"""Recording of the training by other programs, as runs that every command reads."""
