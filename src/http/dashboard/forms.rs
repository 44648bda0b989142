//! What forms are made of, and the question before something that is hard to take back.

use actix_web::HttpResponse;
use maud::{Markup, html};

use crate::http::dashboard::layout::{self, Section, csrf};
use crate::http::dashboard::visitor::Visitor;
use crate::model::Role;

/// A field of one line.
#[must_use]
pub fn line(id: &str, label: &str, value: &str, help: &str) -> Markup {
    html! { div.field {
        label for=(id) { (label) }
        input id=(id) type="text" name=(id) value=(value) autocomplete="off" spellcheck="false" aria-describedby={ (id) "-help" };
        p.help id={ (id) "-help" } { (help) }
    } }
}

/// A field of several lines.
#[must_use]
pub fn lines(id: &str, label: &str, value: &str, help: &str, rows: u8) -> Markup {
    html! { div.field {
        label for=(id) { (label) }
        textarea id=(id) name=(id) rows=(rows) autocomplete="off" spellcheck="false" aria-describedby={ (id) "-help" } { (value) }
        p.help id={ (id) "-help" } { (help) }
    } }
}

/// What was wrong with a form when it was sent.
#[must_use]
pub fn told_problem(problem: Option<&str>) -> Markup {
    html! { @if let Some(problem) = problem { p.problem #problem role="alert" { (problem) } } }
}

/// What whoever may only look at a form is told.
#[must_use]
pub fn only_looked_at(visitor: &Visitor, role: Role) -> Markup {
    html! { @if !visitor.may(role) { p.notice { "Your key may look at this, and not change it." } } }
}

/// Something that is told in words before it is done.
pub struct Question<'a> {
    /// Where the page belongs.
    pub section: Section,
    /// The pages above it.
    pub crumbs: Markup,
    /// What would be done.
    pub title: &'a str,
    /// Where the form goes.
    pub action: &'a str,
    /// What would happen, step by step.
    pub effect: Vec<Markup>,
    /// What the form carries unseen.
    pub hidden: Vec<(&'a str, String)>,
    /// What is filled in.
    pub fields: Markup,
    /// What has to be typed, by its name and as it is, where something has to.
    pub typed: Option<(&'a str, &'a str)>,
    /// What the button says.
    pub button: &'a str,
    /// Whether it cannot be taken back.
    pub is_final: bool,
    /// Where to go instead.
    pub cancel: String,
    /// The role that it takes.
    pub role: Role,
    /// What was wrong with the form when it was sent.
    pub problem: Option<&'a str>,
}

impl Question<'_> {
    /// The page.
    #[must_use]
    pub fn page(&self, visitor: &Visitor) -> HttpResponse {
        let content = html! {
            p.crumbs { (self.crumbs) }
            h1 { (self.title) }
            section class=(if self.is_final { "card preview danger" } else { "card preview" }) aria-labelledby="effect" {
                h2 #effect { "What will happen" }
                ol { @for step in &self.effect { li { (step) } } }
            }
            @if visitor.may(self.role) {
                (told_problem(self.problem))
                form.stack method="post" action=(self.action) aria-describedby=[self.problem.map(|_| "problem")] {
                    (csrf(visitor))
                    @for (name, value) in &self.hidden { input type="hidden" name=(name) value=(value); }
                    (self.fields)
                    @if let Some((what, typed)) = self.typed {
                        label for="typed" { "Type the " (what) ", " code { (typed) } ", to confirm" }
                        input #typed type="text" name="typed" required autocomplete="off" spellcheck="false" autocapitalize="none"
                            data-confirms=(typed) aria-describedby=[self.problem.map(|_| "problem")];
                    }
                    div.actions {
                        button class=(if self.is_final { "danger" } else { "primary" }) type="submit" { (self.button) }
                        a.button href=(self.cancel) { "Cancel" }
                    }
                }
            } @else { p.notice { "Your key may look at this, and not do it." } }
        };
        layout::form_page(visitor, self.section, self.title, self.problem, content)
    }
}
