"""What is kept on disk: run directories, checkpoints, foreign names and formats. Read next: `run`."""
