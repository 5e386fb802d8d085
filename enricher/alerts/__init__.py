"""Alerts that reach people: gathered, limited, sent; the pipeline never waits for them."""
