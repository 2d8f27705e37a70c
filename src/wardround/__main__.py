"""Let `python -m wardround` be the same as `wardround`."""

from wardround.cli.main import main

main()
