use std::sync::Arc;

use db::{DbError, Statement, Type};

use crate::binding::Binding;
use crate::changes::Change;
use crate::feed::Subscription;
use crate::filter::Filter;
use crate::pgoutput::Relation;
use crate::server::Server;

/// Conditions and values in order: types, operators, values, and what is wanted.
pub(crate) static MATCHES: Statement = Statement {
    name: "standin.matches",
    sql: "select standin.matches($1, $2, $3, $4)",
    types: &[Type::OID_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY],
};

/// Which bindings of which subscriptions the row fits. All conditions are asked for at once.
pub(crate) async fn matching<'a>(
    server: &Server,
    change: &Change,
    wanted: &[&'a Arc<Subscription>],
) -> Result<Vec<(&'a Subscription, Vec<&'a Binding>)>, DbError> {
    let Relation { schema, table, columns, .. } = &*change.relation;
    let fits = |binding: &&Binding| binding.wants(change.event, schema, table);
    let candidates: Vec<(&Subscription, Vec<&Binding>)> = wanted
        .iter()
        .map(|one| (&***one, one.bindings.iter().filter(fits).collect::<Vec<_>>()))
        .collect();
    let mut filters: Vec<&Filter> = Vec::new();
    for filter in candidates.iter().flat_map(|(_, bindings)| bindings).flat_map(|one| &one.filters)
    {
        if !filters.contains(&filter) {
            filters.push(filter);
        }
    }
    let subject = change.subject();
    let known: Vec<(&Filter, u32, Option<&str>)> = filters
        .into_iter()
        .filter_map(|filter| {
            let index = columns.iter().position(|column| column.name == filter.column)?;
            let (_, value) = subject.iter().find(|(known, _)| *known == index)?;
            Some((filter, columns[index].kind, *value))
        })
        .collect();
    let mut answers: Vec<Option<bool>> = Vec::new();
    if !known.is_empty() {
        let kinds: Vec<u32> = known.iter().map(|(_, kind, _)| *kind).collect();
        let operators: Vec<&str> = known.iter().map(|(filter, ..)| filter.operator).collect();
        let values: Vec<Option<&str>> = known.iter().map(|(.., value)| *value).collect();
        let asked: Vec<&str> = known.iter().map(|(filter, ..)| &*filter.wanted).collect();
        let row = server.db.query_one(&MATCHES, &[&kinds, &operators, &values, &asked]).await?;
        answers = row.get(0);
    }
    // A column that the log does not tell fits nothing, and neither does a null.
    let holds = |filter: &Filter| {
        let place = known.iter().position(|(one, ..)| *one == filter);
        let answer = place.and_then(|place| answers.get(place).copied().flatten());
        answer.is_some_and(|answer| answer != filter.negated)
    };
    let matching = candidates.into_iter().filter_map(|(subscription, mut bindings)| {
        bindings.retain(|binding| binding.filters.iter().all(holds));
        (!bindings.is_empty()).then_some((subscription, bindings))
    });
    Ok(matching.collect())
}
