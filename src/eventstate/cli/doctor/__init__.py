"""``eventstate doctor``: what is right and wrong about a store and its surroundings."""
