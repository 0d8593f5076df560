"""Procedural moving scenes with captions, and a few photographs."""
