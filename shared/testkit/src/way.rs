use std::net::{Ipv4Addr, TcpListener};

use db::DbSettings;
use localstack::Gateway;
use standin::Awkward;

use crate::supabase::without_realtime;
use crate::{Pooler, Pooling, Rest, Supabase};

/// How a test goes to its database. The bus is the same over all of them; see [`in_every_way`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A connection to Postgres, and LISTEN.
    Direct,
    /// A connection to a pooler in transaction mode.
    Pooled,
    /// Nothing but the two variables of Supabase.
    Supabase,
    /// The same, and whoever asks Realtime never gets an answer.
    Deaf,
    /// The same as Supabase, without a doorbell.
    Poll,
}

/// A way that is open, for as long as this lives.
pub struct Reached {
    pub settings: DbSettings,
    _by: By,
}

#[expect(dead_code, reason = "they only have to live")]
enum By {
    Connections,
    Pooler(Pooler),
    Supabase(Box<Supabase>),
    Deaf(Rest, Gateway, TcpListener),
}

impl Way {
    /// To a migrated database, at its URL for a superuser on a Unix socket.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn reach(self, url: &str) -> Reached {
        match self {
            Self::Direct => Reached { settings: DbSettings::at(url), _by: By::Connections },
            Self::Pooled => {
                let pooler = Pooler::before(url, Pooling::Transaction).await;
                Reached { settings: pooler.settings(), _by: By::Pooler(pooler) }
            }
            Self::Supabase | Self::Poll => {
                let supabase = Box::new(Supabase::over(url, Awkward::default()).await);
                Reached { settings: supabase.settings(), _by: By::Supabase(supabase) }
            }
            Self::Deaf => {
                let (rest, keys) = without_realtime(url).await;
                // The system takes connections to it, and nobody ever reads from them.
                let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("ports are free");
                let realtime = nobody.local_addr().expect("it listens");
                let gateway = Gateway::open(&keys, rest.address(), realtime).await;
                let gateway = gateway.expect("the gateway starts");
                let settings = DbSettings::at_supabase(&gateway.url(), &keys.secret_key);
                Reached { settings, _by: By::Deaf(rest, gateway, nobody) }
            }
        }
    }

    /// Whether somebody who waits is told at once, and not when he looks again.
    pub fn rings(self) -> bool {
        match self {
            Self::Direct | Self::Supabase => true,
            Self::Pooled | Self::Deaf | Self::Poll => false,
        }
    }
}

/// Makes tests of functions that take a [`Way`], one for each. Once in a module.
///
/// ```
/// testkit::in_every_way!(a_message_is_done);
///
/// async fn a_message_is_done(way: testkit::Way) {
///     let test = testkit::database().await;
///     let reached = way.reach(&test.url()).await;
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! in_every_way {
    ($($test:ident),+ $(,)?) => {
        $crate::on_every_wire!($($test),+);
        $crate::in_one_way!(deaf, Deaf, $($test),+);
        $crate::in_one_way!(poll, Poll, $($test),+);
    };
}

/// The same for what no doorbell has a part in: a connection, a pooler, requests over REST.
#[macro_export]
macro_rules! on_every_wire {
    ($($test:ident),+ $(,)?) => {
        $crate::in_one_way!(direct, Direct, $($test),+);
        $crate::in_one_way!(pooled, Pooled, $($test),+);
        $crate::in_one_way!(supabase, Supabase, $($test),+);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! in_one_way {
    ($module:ident, $way:ident, $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($crate::Way::$way).await;
                }
            )+
        }
    };
}
