"""The measuring side: runs inside the interpreter of one arm, takes one JSON request, gives one JSON answer."""
