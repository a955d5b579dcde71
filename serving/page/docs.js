// Swagger UI for this service's API description. The validator is off: it would load from another host.
window.SwaggerUIBundle({ url: "docs.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
