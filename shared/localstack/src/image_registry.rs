use std::io;
use std::path::Path;
use std::time::Duration;

use miette::Diagnostic;
use model::Secret;

use crate::kept::{Health, Kept, Program, Tell};
use crate::keys::write_privately;
use crate::postgrest::make_private;
use crate::tool::{Tool, ToolMissing};
use crate::upstream::Upstream;
use crate::{ImagePusher, free_port};

pub const DOCKER_REGISTRY: Tool =
    Tool { name: "docker-registry", variable: "COGO_DOCKER_REGISTRY" };

/// Guessing is no danger on a machine of one's own, and the registry checks the password anew at
/// every request.
const COST: u32 = 4;

/// What a registry of images is told: it listens on loopback only, knows the users of the file
/// `htpasswd`, and keeps everything under `data`. Paths are ours, and without quotes in them.
pub fn image_registry_config(data: &Path, htpasswd: &Path, port: u16) -> String {
    let secret = hex::encode(rand::random::<[u8; 16]>());
    format!(
        "version: 0.1\n\
         log: {{ level: warn, accesslog: {{ disabled: true }} }}\n\
         storage:\n  filesystem: {{ rootdirectory: \"{}\" }}\n  delete: {{ enabled: true }}\n\
         http: {{ addr: \"127.0.0.1:{port}\", secret: {secret} }}\n\
         auth:\n  htpasswd: {{ realm: images, path: \"{}\" }}\n",
        data.display(),
        htpasswd.display(),
    )
}

/// The line of a user in such a file.
pub fn htpasswd(user: &str, password: &Secret) -> String {
    let hash = bcrypt::hash(password.expose(), COST).expect("the cost is one that there is");
    format!("{user}:{hash}\n")
}

/// Debian's `docker-registry` on a port of loopback, with one user. Runs for as long as this value
/// lives; what was pushed stays in its folder.
#[derive(Debug)]
pub struct ImageRegistry {
    port: u16,
    pusher: ImagePusher,
    credential: Secret,
    kept: Kept,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("could not start a registry of images")]
pub enum ImageRegistryError {
    Missing(
        #[source]
        #[diagnostic_source]
        ToolMissing,
    ),
    Io(#[from] io::Error),
    #[error("the registry of images does not answer: {0}")]
    Down(String),
}

/// It only opens a folder first, perhaps on a busy machine.
const STARTING: Duration = Duration::from_secs(60);
const USER: &str = "cogo";

impl ImageRegistry {
    /// Answers when it serves. `folder` is for it alone.
    pub async fn start(folder: &Path, tell: Tell) -> Result<Self, ImageRegistryError> {
        let program = DOCKER_REGISTRY.find().map_err(ImageRegistryError::Missing)?;
        let password = Secret::new(hex::encode(rand::random::<[u8; 16]>()));
        let port = free_port()?;
        let (data, users) = (folder.join("data"), folder.join("htpasswd"));
        let config = folder.join("config.yml");
        make_private(folder)?;
        make_private(&data)?;
        write_privately(&users, &htpasswd(USER, &password))?;
        write_privately(&config, &image_registry_config(&data, &users, port))?;
        let program = Program {
            name: "the registry of images",
            folder: folder.to_owned(),
            line: vec![program.into(), "serve".into(), config.into()],
            env: Vec::new(),
            listens: Upstream::Tcp(([127, 0, 0, 1], port).into()),
        };
        let kept = Kept::start(program, tell)?;
        match kept.settled(STARTING).await {
            Health::Up => {}
            Health::Starting => {
                return Err(ImageRegistryError::Down(format!("not within {STARTING:?}")));
            }
            Health::Down(why) => return Err(ImageRegistryError::Down(why)),
        }
        let host = format!("127.0.0.1:{port}");
        let credential = Secret::new(format!("{USER}:{}", password.expose()));
        let pusher = ImagePusher::new(host, USER.to_owned(), password);
        Ok(Self { port, pusher, credential, kept })
    }

    /// As repositories begin here.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `user:password`
    pub fn credential(&self) -> &Secret {
        &self.credential
    }

    pub fn pusher(&self) -> &ImagePusher {
        &self.pusher
    }

    /// As it should end: in its own time.
    pub async fn stop(self) {
        self.kept.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_a_hash_of_it() {
        let line = htpasswd("user", &Secret::new("hunter2".to_owned()));
        assert!(line.starts_with("user:$2") && !line.contains("hunter2"), "{line}");
        assert!(bcrypt::verify("hunter2", line.trim().split_once(':').unwrap().1).unwrap());
    }
}
