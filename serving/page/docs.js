// Swagger's page for this service's own description, with nothing fetched from anywhere else: no validator either.
window.SwaggerUIBundle({ url: "docs.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
