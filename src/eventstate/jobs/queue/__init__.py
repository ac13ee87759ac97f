"""Jobs that wait for workers: in their order, once what they depend on has ended."""
