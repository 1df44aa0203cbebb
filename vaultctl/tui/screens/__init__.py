"""The screens, a file for each thing that one looks at."""
