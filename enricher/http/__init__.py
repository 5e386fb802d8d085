"""What the http source is made of: who may speak, what may be said, and what is answered."""
