//! The description as a page: no script, nothing from elsewhere.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2mint_keys::crypto;
use serde_json::Value;

const STYLE: &str = ":root{color-scheme:light dark;--line:light-dark(#ccc,#444);--soft:light-dark(#f4f4f4,#1d1d1d)}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
details{border:1px solid var(--line);border-radius:.4rem;margin:.4rem 0;padding:.4rem .8rem}\
summary{cursor:pointer}code,pre{font:14px/1.4 ui-monospace,monospace}\
pre{background:var(--soft);padding:.6rem;overflow-x:auto;border-radius:.3rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;border-top:1px solid var(--line);padding:.3rem;vertical-align:top}\
b.method{display:inline-block;min-width:4.5rem}";

/// The page, and the policy that lets it have its style and nothing else.
pub fn render(document: &Value) -> (String, String) {
    let mut page = String::new();
    let title = format!("{} {}", text(document, "/info/title"), text(document, "/info/version"));
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}: API</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}: API</h1><p>{} The same for machines: <a href=\"/openapi.json\">openapi.json</a>.</p>",
        escaped(text(document, "/info/description"))
    );
    let mut tag = String::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let own = text(operation, "/tags/0");
            if own != tag {
                own.clone_into(&mut tag);
                let _ = write!(page, "<h2>{}</h2>", escaped(own));
            }
            render_operation(&mut page, method, path, operation);
        }
    }
    page.push_str("<h2>Schemas</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let name = escaped(name);
        let _ = write!(
            page,
            "<details id=\"{name}\"><summary>{name}</summary><pre>{}</pre></details>",
            escaped(&pretty(schema))
        );
    }
    page.push_str("</main></body></html>\n");
    let hash = STANDARD.encode(crypto::sha256(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (page, policy)
}

fn render_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(
        page,
        "<details id=\"{}\"><summary><b class=\"method\">{}</b> <code>{}</code> {}</summary>",
        escaped(text(operation, "/operationId")),
        method.to_ascii_uppercase(),
        escaped(path),
        escaped(text(operation, "/summary")),
    );
    let described = text(operation, "/description");
    if !described.is_empty() {
        let _ = write!(page, "<p>{}</p>", escaped(described));
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let rows: Vec<String> =
        parameters.map(|one| row(text(one, "/name"), text(one, "/in"), text(one, "/description"))).collect();
    if !rows.is_empty() {
        let _ = write!(page, "<table><tr><th>Parameter<th>In<th>Meaning</tr>{}</table>", rows.concat());
    }
    for (media, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ =
            write!(page, "<p>Body, <code>{}</code>: {}</p>", escaped(media), reference(&content["schema"]));
        if let Some(example) = content.get("example") {
            let _ = write!(page, "<pre>{}</pre>", escaped(&pretty(example)));
        }
    }
    let answers = operation["responses"].as_object().into_iter().flatten();
    page.push_str("<table><tr><th>Answer<th>Body<th>Meaning</tr>");
    for (status, answer) in answers {
        let contents = answer["content"].as_object().into_iter().flatten();
        let bodies: Vec<String> = contents.map(|(_, content)| reference(&content["schema"])).collect();
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{}</tr>",
            escaped(status),
            bodies.join(", "),
            escaped(text(answer, "/description"))
        );
    }
    page.push_str("</table></details>");
}

fn row(name: &str, place: &str, meaning: &str) -> String {
    format!("<tr><td><code>{}</code><td>{}<td>{}</tr>", escaped(name), escaped(place), escaped(meaning))
}

/// A link to a schema, or what there is in place of one.
fn reference(schema: &Value) -> String {
    match text(schema, "/$ref").rsplit('/').next() {
        Some(name) if !name.is_empty() => format!("<a href=\"#{0}\">{0}</a>", escaped(name)),
        _ => escaped(schema["type"].as_str().unwrap_or("any of several")),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_described_is_text_on_the_page() {
        let document = json!({"info": {"title": "t", "version": "1", "description": "<script>"},
            "paths": {"/<x>": {"get": {"tags": ["<t>"], "operationId": "a\"b", "summary": "&", "responses": {}}}}});
        let (page, policy) = render(&document);
        assert!(!page.contains("<script>") && !page.contains("<x>") && !page.contains("<t>"), "{page}");
        assert!(page.contains("id=\"a&quot;b\"") && page.contains("&lt;script&gt;"));
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    }
}
