"""``eventstate firestore``: what the Google Cloud CLI has to do for a Firestore database."""
