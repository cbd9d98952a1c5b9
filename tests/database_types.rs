//! `supabase/database.types.ts` says what the migrated schema says. It is written by this test when
//! COGO_WRITE_TYPES is set, in the shape that supabase-js expects.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

use std::fmt::Write as _;
use std::path::Path;

use tokio_postgres::{Client, Row};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../supabase/database.types.ts");

const HEAD: &str = "\
// The schema `public` after all migrations, for supabase-js. Written by tests/database_types.rs.

export type Json =
  | string
  | number
  | boolean
  | null
  | { [key: string]: Json | undefined }
  | Json[];

";

#[tokio::test]
async fn the_types_that_clients_compile_against_are_those_of_the_schema() {
    let test = testkit::database().await;
    let client = test.client().await;
    let mut text = HEAD.to_owned();
    composites(&client, &mut text).await;
    text.push_str("export type Database = {\n  public: {\n");
    relations(&client, "Tables", &["r", "p"], &mut text).await;
    relations(&client, "Views", &["v", "m"], &mut text).await;
    functions(&client, &mut text).await;
    enums(&client, &mut text).await;
    text.push_str("    CompositeTypes: { [_ in never]: never };\n  };\n};\n");
    if wanted() {
        std::fs::write(Path::new(FILE), &text).unwrap();
    }
    let there = std::fs::read_to_string(FILE).unwrap_or_default();
    let first = text.lines().zip(there.lines()).position(|(new, old)| new != old);
    assert!(
        text == there,
        "supabase/database.types.ts is not what the migrations make (line {:?}); run `make types`",
        first.map(|place| place + 1)
    );
}

#[expect(clippy::disallowed_methods, reason = "a test has no settings")]
fn wanted() -> bool {
    std::env::var_os("COGO_WRITE_TYPES").is_some()
}

/// Rows that functions answer with, and that are no relation's. PostgREST serves no type of their
/// schema, so they have a name of their own here.
async fn composites(client: &Client, text: &mut String) {
    let sql = "select type.typname, type.typrelid
        from pg_type as type join pg_class as relation on relation.oid = type.typrelid
        where relation.relkind = 'c' and exists (select from pg_proc as function
            where function.pronamespace = 'public'::regnamespace and function.prorettype = type.oid)
        order by type.typname";
    for row in client.query(sql, &[]).await.unwrap() {
        let _ = writeln!(text, "export type {} = {{", camel(row.get(0)));
        for column in columns(client, row.get(1), true).await {
            let line = Part::Row.line(&column).unwrap();
            let _ = writeln!(text, "  {line}");
        }
        text.push_str("};\n\n");
    }
}

/// `event_row` as TypeScript writes the name of a type: `EventRow`.
fn camel(name: &str) -> String {
    let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

struct Column {
    name: String,
    kind: String,
    nullable: bool,
    optional: bool,
    /// Neither a generated column nor an identity that is always given.
    writable: bool,
}

async fn relations(client: &Client, heading: &str, kinds: &[&str], text: &mut String) {
    let sql = "select relation.oid, relation.relname, relation.relkind in ('v', 'm')
        from pg_class as relation
        where relation.relnamespace = 'public'::regnamespace and relation.relkind::text = any ($1)
        order by relation.relname";
    let _ = writeln!(text, "    {heading}: {{");
    for relation in client.query(sql, &[&kinds]).await.unwrap() {
        let columns = columns(client, relation.get(0), relation.get(2)).await;
        let _ = writeln!(text, "      {}: {{", relation.get::<_, &str>(1));
        for (part, of) in [("Row", Part::Row), ("Insert", Part::Insert), ("Update", Part::Update)] {
            let _ = writeln!(text, "        {part}: {{");
            for column in &columns {
                if let Some(line) = of.line(column) {
                    let _ = writeln!(text, "          {line}");
                }
            }
            text.push_str("        };\n");
        }
        text.push_str("        Relationships: [];\n      };\n");
    }
    text.push_str("    };\n");
}

async fn columns(client: &Client, relation: u32, is_view: bool) -> Vec<Column> {
    let sql = "select attribute.attname, attribute.atttypid, not attribute.attnotnull,
            attribute.atthasdef or attribute.attidentity <> '',
            attribute.attgenerated = '' and attribute.attidentity <> 'a'
                and pg_column_is_updatable(attribute.attrelid, attribute.attnum, true)
        from pg_attribute as attribute
        where attribute.attrelid = $1 and attribute.attnum > 0 and not attribute.attisdropped
        order by attribute.attname";
    let mut columns = Vec::new();
    for row in client.query(sql, &[&relation]).await.unwrap() {
        // What a view shows may be missing, as far as the catalogue knows.
        let nullable = is_view || row.get(2);
        columns.push(Column {
            name: row.get(0),
            kind: kind(client, row.get(1)).await,
            nullable,
            optional: nullable || row.get(3),
            writable: row.get(4),
        });
    }
    columns
}

#[derive(Clone, Copy)]
enum Part {
    Row,
    Insert,
    Update,
}

impl Part {
    fn line(self, column: &Column) -> Option<String> {
        let Column { name, kind, nullable, optional, writable } = column;
        let null = if *nullable { " | null" } else { "" };
        let mark = match self {
            Self::Row => "",
            Self::Insert if *optional => "?",
            Self::Insert => "",
            Self::Update => "?",
        };
        match self {
            Self::Row => Some(format!("{name}: {kind}{null};")),
            Self::Insert | Self::Update if *writable => {
                Some(format!("{name}{mark}: {kind}{null};"))
            }
            Self::Insert | Self::Update => Some(format!("{name}?: never;")),
        }
    }
}

async fn functions(client: &Client, text: &mut String) {
    let sql = "select function.proname, function.prorettype, function.proretset,
            coalesce(function.proargnames, '{}'),
            coalesce(function.proallargtypes, function.proargtypes::oid[]),
            function.proargmodes::text[], function.pronargs::int4, function.pronargdefaults::int4
        from pg_proc as function
        where function.pronamespace = 'public'::regnamespace and function.prokind = 'f'
            and function.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
            and not exists (select from pg_depend as dependency
                where dependency.objid = function.oid and dependency.deptype = 'e')
        order by function.proname, function.oid";
    let rows = client.query(sql, &[]).await.unwrap();
    text.push_str("    Functions: {\n");
    for row in &rows {
        let name: &str = row.get(0);
        let (inputs, outputs) = arguments(client, row).await;
        let _ = writeln!(text, "      {name}: {{");
        if inputs.is_empty() {
            text.push_str("        Args: Record<PropertyKey, never>;\n");
        } else {
            let _ = writeln!(text, "        Args: {{ {} }};", inputs.join("; "));
        }
        let one = if outputs.is_empty() {
            kind(client, row.get(1)).await
        } else {
            format!("{{ {} }}", outputs.join("; "))
        };
        let many = if row.get(2) { "[]" } else { "" };
        let _ = writeln!(text, "        Returns: {one}{many};\n      }};");
    }
    text.push_str("    };\n");
    let mut names: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "a function is overloaded, which REST cannot tell apart");
}

/// What goes in and what comes out, as `name: type`.
async fn arguments(client: &Client, row: &Row) -> (Vec<String>, Vec<String>) {
    let (names, kinds): (Vec<String>, Vec<u32>) = (row.get(3), row.get(4));
    let modes: Option<Vec<String>> = row.get(5);
    let first_default = usize::try_from(row.get::<_, i32>(6) - row.get::<_, i32>(7)).unwrap();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for (place, (name, oid)) in names.iter().zip(kinds).enumerate() {
        let kind = kind(client, oid).await;
        match modes.as_ref().map_or("i", |modes| modes[place].as_str()) {
            "i" => {
                let mark = if inputs.len() >= first_default { "?" } else { "" };
                inputs.push(format!("{name}{mark}: {kind}"));
            }
            "o" | "t" => outputs.push(format!("{name}: {kind}")),
            mode => panic!("an argument of mode {mode} has no type here yet"),
        }
    }
    (inputs, outputs)
}

async fn enums(client: &Client, text: &mut String) {
    let sql = "select type.typname, array(select quote_ident(label.enumlabel) from pg_enum as label
            where label.enumtypid = type.oid order by label.enumsortorder)
        from pg_type as type
        where type.typnamespace = 'public'::regnamespace and type.typtype = 'e' order by 1";
    let rows = client.query(sql, &[]).await.unwrap();
    assert!(rows.is_empty(), "an enum has no type here yet: {rows:?}");
    text.push_str("    Enums: { [_ in never]: never };\n");
}

/// As JSON carries it.
async fn kind(client: &Client, oid: u32) -> String {
    let sql = "select type.typname, coalesce(element.typname, ''), relation.relname,
            relation.relkind::text
        from pg_type as type
        left join pg_type as element on element.oid = type.typelem and type.typcategory = 'A'
        left join pg_class as relation on relation.oid = type.typrelid
            and (relation.relkind = 'c' or relation.relnamespace = 'public'::regnamespace)
        where type.oid = $1";
    let row = client.query_one(sql, &[&oid]).await.unwrap();
    let (name, element): (&str, &str) = (row.get(0), row.get(1));
    if let Some(relation) = row.get::<_, Option<&str>>(2) {
        let heading = match row.get(3) {
            "c" => return camel(relation),
            "v" | "m" => "Views",
            _ => "Tables",
        };
        return format!("Database[\"public\"][\"{heading}\"][\"{relation}\"][\"Row\"]");
    }
    if element.is_empty() { scalar(name).to_owned() } else { format!("{}[]", scalar(element)) }
}

fn scalar(name: &str) -> &'static str {
    match name {
        "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" => "number",
        "bool" => "boolean",
        "json" | "jsonb" => "Json",
        "text" | "varchar" | "name" | "uuid" | "timestamptz" | "timestamp" | "date"
        | "interval" => "string",
        "void" => "undefined",
        "record" => "Record<string, unknown>",
        other => panic!("say here what `{other}` is in TypeScript"),
    }
}
