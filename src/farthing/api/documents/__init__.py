"""The shapes of bodies and answers, for the OpenAPI description and the clients made from it."""
