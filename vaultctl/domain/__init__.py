"""What the words mean: data and rules, no I/O. Every room may import it; it imports none of them."""
