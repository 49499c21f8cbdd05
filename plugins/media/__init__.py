"""Pictures and documents of requests: fetched, decoded within limits, made small enough for a model."""
