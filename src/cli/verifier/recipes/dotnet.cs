using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

var builder = WebApplication.CreateBuilder(args);

builder.Services.AddAuthentication(JwtBearerDefaults.AuthenticationScheme).AddJwtBearer(options =>
{
    options.MapInboundClaims = false;
    options.ConfigurationManager = new ConfigurationManager<OpenIdConnectConfiguration>(
        "{{issuer}}/.well-known/openid-configuration", new OpenIdConnectConfigurationRetriever(), new HttpDocumentRetriever())
    {
        AutomaticRefreshInterval = TimeSpan.FromSeconds({{cache}}),
        RefreshInterval = TimeSpan.FromSeconds({{cooldown}}),
    };
    options.TokenValidationParameters = new TokenValidationParameters
    {
        ValidAlgorithms = ["{{alg}}"],
        ValidTypes = ["at+jwt"],
        ValidIssuer = "{{issuer}}",
        ValidAudience = "{{audience}}",
        ClockSkew = TimeSpan.FromSeconds({{leeway}}),
    };
});
builder.Services.AddAuthorizationBuilder().SetDefaultPolicy(new(
    [new Microsoft.AspNetCore.Authorization.Infrastructure.AssertionRequirement(context =>
        context.User.HasClaim("stt", "1") && context.User.HasClaim("scp", "{{scope}}"))],
    [JwtBearerDefaults.AuthenticationScheme]));

var app = builder.Build();
app.MapPost("/events", () => Results.Created()).RequireAuthorization();
app.Run();
