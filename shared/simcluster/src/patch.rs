//! The three older kinds of patches.

use serde_json::{Value, json};

use crate::fields::key_of;
use crate::refusal::Refusal;
use crate::schema::{Listed, listed};

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().expect("it was just made one");
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// A merge patch that knows which lists are maps by a key.
pub(crate) fn strategic(target: &mut Value, patch: &Value) -> Result<(), Refusal> {
    if !patch.is_object() {
        return Err(Refusal::bad_request("invalid patch: it is no object"));
    }
    strategic_field("", target, patch)
}

fn strategic_field(name: &str, target: &mut Value, patch: &Value) -> Result<(), Refusal> {
    match patch {
        Value::Object(patch) => {
            match patch.get("$patch").and_then(Value::as_str) {
                Some("replace") => {
                    let mut whole = patch.clone();
                    whole.remove("$patch");
                    *target = Value::Object(whole);
                    return Ok(());
                }
                Some("delete") => {
                    *target = json!({});
                    return Ok(());
                }
                _ => {}
            }
            if !target.is_object() {
                *target = json!({});
            }
            let fields = target.as_object_mut().expect("it was just made one");
            for (name, value) in patch {
                // Only an order or a deletion from a plain list; neither changes a field here.
                if name.starts_with("$setElementOrder/") || name == "$retainKeys" {
                    continue;
                }
                if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
                    let gone = value.as_array().cloned().unwrap_or_default();
                    if let Some(Value::Array(items)) = fields.get_mut(list) {
                        items.retain(|one| !gone.contains(one));
                    }
                    continue;
                }
                if value.is_null() {
                    fields.remove(name);
                    continue;
                }
                let held = fields.entry(name.clone()).or_insert(Value::Null);
                strategic_field(name, held, value)?;
            }
            Ok(())
        }
        Value::Array(items) => {
            let Listed::By(keys) = listed(name) else {
                *target = patch.clone();
                return Ok(());
            };
            strategic_items(name, target, items, keys)
        }
        _ => {
            *target = patch.clone();
            Ok(())
        }
    }
}

fn strategic_items(
    name: &str,
    target: &mut Value,
    items: &[Value],
    keys: &[&str],
) -> Result<(), Refusal> {
    if items.iter().any(|one| one["$patch"] == "replace") {
        let kept = items.iter().filter(|one| one["$patch"] != "replace").cloned();
        *target = kept.collect();
        return Ok(());
    }
    // Ports are merged by their number alone, unlike in an apply.
    let keys = &keys[..1];
    if !target.is_array() {
        *target = json!([]);
    }
    let held = target.as_array_mut().expect("it was just made one");
    for item in items {
        if let Some(missing) = keys.iter().find(|key| item.get(**key).is_none()) {
            let message = format!("map: {name} does not contain declared merge key: {missing}");
            return Err(Refusal::new(500, "", message));
        }
        let key = key_of(item, keys);
        let at = held.iter().position(|one| key_of(one, keys) == key);
        match (at, item["$patch"] == "delete") {
            (Some(at), true) => {
                held.remove(at);
            }
            (None, true) => {}
            (Some(at), false) => strategic_field("", &mut held[at], item)?,
            // What is new comes first, as the real server has it.
            (None, false) => held.insert(0, item.clone()),
        }
    }
    Ok(())
}

/// RFC 6902.
pub(crate) fn json_patch(target: &mut Value, operations: &Value) -> Result<(), Refusal> {
    let Some(operations) = operations.as_array() else {
        return Err(Refusal::bad_request(
            "json: cannot unmarshal into Go value of type jsonpatch.Patch",
        ));
    };
    for one in operations {
        let path = one["path"].as_str().unwrap_or_default();
        let value = one.get("value").cloned();
        let refused = || unprocessable(&format!("{} operation does not apply: {path}", one["op"]));
        let given = || value.clone().ok_or_else(refused);
        match one["op"].as_str().unwrap_or_default() {
            "add" => add(target, path, given()?).ok_or_else(refused)?,
            "remove" => {
                take(target, path).ok_or_else(refused)?;
            }
            "replace" => {
                *target.pointer_mut(path).ok_or_else(refused)? = given()?;
            }
            "move" => {
                let from = one["from"].as_str().unwrap_or_default();
                let moved = take(target, from).ok_or_else(refused)?;
                add(target, path, moved).ok_or_else(refused)?;
            }
            "copy" => {
                let from = one["from"].as_str().unwrap_or_default();
                let copied = target.pointer(from).cloned().ok_or_else(refused)?;
                add(target, path, copied).ok_or_else(refused)?;
            }
            "test" => {
                if target.pointer(path) != value.as_ref() {
                    return Err(unprocessable("testing value failed"));
                }
            }
            other => return Err(unprocessable(&format!("Unexpected kind: {other}"))),
        }
    }
    Ok(())
}

fn unprocessable(_why: &str) -> Refusal {
    Refusal::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .with_details(json!({}))
}

fn parent<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Some((target.pointer_mut(parent)?, last))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, last) = parent(target, path)?;
    match parent {
        Value::Object(fields) => {
            fields.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let at = last.parse::<usize>().ok().filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = parent(target, path)?;
    match parent {
        Value::Object(fields) => fields.remove(&last),
        Value::Array(items) => {
            let at = last.parse::<usize>().ok().filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategic_patch_finds_containers_and_variables_by_name() {
        let mut live = json!({ "containers": [
            { "name": "a", "image": "1", "env": [{ "name": "X", "value": "1" }] },
            { "name": "b", "image": "1" },
        ] });
        let patch = json!({ "containers": [
            { "name": "b", "image": "2" },
            { "name": "a", "env": [{ "name": "Y", "value": "2" }, { "name": "X", "$patch": "delete" }] },
        ] });
        strategic(&mut live, &patch).unwrap();
        assert_eq!(
            live,
            json!({ "containers": [
                { "name": "a", "image": "1", "env": [{ "name": "Y", "value": "2" }] },
                { "name": "b", "image": "2" },
            ] })
        );
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_null_removes() {
        let mut live = json!({ "a": [1, 2], "b": { "c": 1, "d": 2 } });
        merge(&mut live, &json!({ "a": [3], "b": { "c": null } }));
        assert_eq!(live, json!({ "a": [3], "b": { "d": 2 } }));
    }

    #[test]
    fn a_json_patch_does_what_it_says_or_nothing() {
        let mut live = json!({ "a": { "b/c": 1 }, "l": [1, 3] });
        let steps = json!([
            { "op": "test", "path": "/a/b~1c", "value": 1 },
            { "op": "replace", "path": "/a/b~1c", "value": 2 },
            { "op": "add", "path": "/l/1", "value": 2 },
            { "op": "add", "path": "/l/-", "value": 4 },
            { "op": "move", "from": "/a/b~1c", "path": "/d" },
        ]);
        json_patch(&mut live, &steps).unwrap();
        assert_eq!(live, json!({ "a": {}, "d": 2, "l": [1, 2, 3, 4] }));
        for wrong in [
            json!([{ "op": "test", "path": "/d", "value": 3 }]),
            json!([{ "op": "remove", "path": "/nothing" }]),
            json!([{ "op": "add", "path": "/l/9", "value": 3 }]),
        ] {
            assert_eq!(json_patch(&mut live, &wrong).unwrap_err().code, 422);
        }
    }
}
