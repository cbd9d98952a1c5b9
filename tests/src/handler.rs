use std::time::Duration;

use bus::{Answer, NewEvent, NewMessage};
use db::{SessionMode, Statement, Type};
use model::MessageId;
use time::OffsetDateTime;
use tokio::time::sleep;
use worker::{Cx, Failure, Handlers, Received, Settle};

use crate::act::{Act, Echo, Part, REFUSED, acted};

pub(crate) fn handlers(worker: &str) -> Handlers {
    let (acting, echoing) = (worker.to_owned(), worker.to_owned());
    Handlers::new()
        .on(move |job: Received<Act>, cx| {
            let this = This { id: job.id, attempt: job.attempt, worker: acting.clone() };
            act(job, this, cx)
        })
        .on(move |job: Received<Echo>, cx| {
            let this = This { id: job.id, attempt: job.attempt, worker: echoing.clone() };
            let part = Echo::part(job.payload.of);
            async move { finish(part, this, OffsetDateTime::now_utc(), &cx).await }
        })
}

struct This {
    id: MessageId,
    attempt: i32,
    worker: String,
}

async fn act(job: Received<Act>, this: This, cx: Cx) -> Result<Settle, Failure> {
    let began = OffsetDateTime::now_utc();
    let Act { n, part, ms } = job.payload;
    let work = sleep(Duration::from_millis(ms));
    // Half of them are deaf, so that late settles come too.
    if n % 2 == 0 {
        work.await;
    } else {
        tokio::select! {
            () = work => {}
            () = cx.stopped() => return Err(Failure::retry("told to stop")),
        }
    }
    match part {
        Part::Fails => Err(Failure::retry("as planned")),
        Part::Flaky if this.attempt == 1 => Err(Failure::retry("as planned, this once")),
        Part::Refuses => Err(Failure::fatal(REFUSED, "as planned")),
        Part::Panics => panic!("as planned"),
        part => finish(part, this, began, &cx).await,
    }
}

async fn finish(part: Part, this: This, began: OffsetDateTime, cx: &Cx) -> Result<Settle, Failure> {
    let event = NewEvent::new(acted());
    match part {
        Part::Event => Ok(Settle::done().note(event)),
        Part::Follow => {
            let echo = NewMessage::of(&Echo { of: this.id })?;
            Ok(Settle::done().result("echoed").note(event).follow_up(echo))
        }
        _ => persist(&this, began, cx).await,
    }
}

static EFFECT: Statement = Statement {
    name: "chaos.effect",
    sql: "insert into public.chaos_effects (message_id, worker, attempt, began, ended)
        values ($1, $2, $3, $4, clock_timestamp())",
    types: &[Type::INT8, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ],
};

/// Tries again when the database was away, even when it is in doubt whether the commit happened: the
/// fence makes that safe.
async fn persist(this: &This, began: OffsetDateTime, cx: &Cx) -> Result<Settle, Failure> {
    for _ in 0..TRIES {
        if let Ok(settle) = write_and_settle(this, began, cx).await {
            return Ok(settle);
        }
        sleep(Duration::from_millis(50)).await;
    }
    write_and_settle(this, began, cx).await
}

const TRIES: usize = 4;

async fn write_and_settle(this: &This, began: OffsetDateTime, cx: &Cx) -> Result<Settle, Failure> {
    if cx.bus().db().mode() == SessionMode::Supabase {
        return call_finish(this, began, cx).await;
    }
    let mut client = cx.bus().db().client().await?;
    let transaction = client.transaction().await?;
    transaction.execute(&EFFECT, &[&this.id, &this.worker, &this.attempt, &began]).await?;
    let answer = cx.settle_in(&transaction, Settle::done()).await?;
    if this.id.get() % 4 == 0 {
        // Time to be stopped, killed or cut off between the settle and its commit.
        sleep(Duration::from_millis(25)).await;
    }
    match answer {
        Answer::Accepted => transaction.commit().await?,
        Answer::Lost => transaction.rollback().await?,
    }
    Ok(Settle::done())
}

static FINISH: Statement = Statement {
    name: "chaos.finish",
    sql: "select public.chaos_finish(
        p_worker => $1, p_id => $2, p_lease => $3, p_attempt => $4, p_began_us => $5)",
    types: &[Type::TEXT, Type::INT8, Type::UUID, Type::INT4, Type::INT8],
};

async fn call_finish(this: &This, began: OffsetDateTime, cx: &Cx) -> Result<Settle, Failure> {
    let began_us = i64::try_from(began.unix_timestamp_nanos() / 1_000).expect("it is this century");
    let parameters: &[&dyn db::Parameter] =
        &[&cx.worker(), &this.id, &cx.lease(), &this.attempt, &began_us];
    let row = cx.bus().db().query_one(&FINISH, parameters).await?;
    if row.get(0) {
        cx.was_settled();
    }
    Ok(Settle::done())
}
