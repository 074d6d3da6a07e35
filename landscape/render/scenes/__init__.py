"""Three-dimensional scenes by VTK, still and in motion, labelled by matplotlib."""
