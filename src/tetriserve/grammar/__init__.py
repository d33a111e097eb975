"""What can be typed, one file per group of commands. Says nothing about how anything is done."""
