"""Private APIs of Ray and `datasets`, each with the reason; the only file that uses them."""
