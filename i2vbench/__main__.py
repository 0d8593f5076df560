"""``python -m i2vbench``."""

from i2vbench.cli import main

main()
