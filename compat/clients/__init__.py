"""Unmodified Kafka clients behind one interface (`base.Client`), so that one suite holds all of them to the same."""
