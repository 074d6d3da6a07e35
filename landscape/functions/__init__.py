"""Functions of one and two variables: a catalogue, formulas, and descents in memory, for teaching and for tests."""
