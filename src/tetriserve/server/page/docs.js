// The API's description, read and tried out with Swagger UI. Nothing is asked of anybody else: no validator.

globalThis.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null,
});
