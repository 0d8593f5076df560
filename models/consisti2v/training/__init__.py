"""Training of the bundled tiny ConsistI2V on procedural scenes."""
