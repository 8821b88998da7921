"""The Segment HTTP tracking API, so that Segment's own client libraries send to this service with only their host changed."""
