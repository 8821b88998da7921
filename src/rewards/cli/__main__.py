"""`python -m rewards.cli`: the command line where its script is not on the path."""

from rewards.cli.root import main

main(prog_name="rewards")
