"""Our policy: plans anew at every event, for the set of requests that can all be on time together."""
