"""Private helpers shared by all packages."""
