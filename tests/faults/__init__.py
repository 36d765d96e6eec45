"""Real processes under load, faults at random moments, and a checker over everything acknowledged and every effect."""
