use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use localstack::{DOCKER_REGISTRY, ImagePusher, htpasswd, image_registry_config};
use model::Secret;

use crate::Program;

/// A real registry of images on loopback, Debian's `docker-registry`, with one user. It is empty,
/// and ends when dropped.
///
/// ```no_run
/// # async fn test() {
/// let registry = testkit::ImageRegistry::start().await;
/// let labels = [("cogo.component", "codegen-worker")];
/// let digest = registry.pusher().push("acme/cogo-codegen-worker", "v1.2.3", &labels).await.unwrap();
/// # }
/// ```
pub struct ImageRegistry {
    port: u16,
    user: String,
    password: Secret,
    pusher: ImagePusher,
    program: Program,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl ImageRegistry {
    /// Answers when it serves.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn start() -> Self {
        let user = format!("user-{}", hex::encode(rand::random::<[u8; 8]>()));
        let password = Secret::new(hex::encode(rand::random::<[u8; 16]>()));
        Self::with_login(&user, password).await
    }

    /// The same, for a user and a password of one's own.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn with_login(user: &str, password: Secret) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let port = localstack::free_port().expect("there are free ports");
            let program = launch(port, user, &password);
            let (user, password) = (user.to_owned(), password.clone());
            let host = format!("127.0.0.1:{port}");
            let pusher = ImagePusher::new(host, user.clone(), password.clone());
            let mut registry = Self { port, user, password, pusher, program };
            // Another may have taken the port meanwhile; then this one ends, and the next is tried.
            if registry.serves(deadline).await {
                return registry;
            }
        }
    }

    /// As repositories begin here.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// `user:password`, as the secret of an account.
    pub fn credential(&self) -> Secret {
        Secret::new(format!("{}:{}", self.user, self.password.expose()))
    }

    /// All it has said.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// Puts images into it.
    pub fn pusher(&self) -> &ImagePusher {
        &self.pusher
    }

    async fn serves(&mut self, deadline: Instant) -> bool {
        while self.program.ended().is_none() {
            if self.pusher.is_welcome().await {
                return true;
            }
            assert!(Instant::now() < deadline, "the registry does not serve:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = self.log();
        let in_use = log.contains("in use") && Instant::now() < deadline;
        assert!(in_use, "the registry did not start:\n{log}");
        false
    }
}

fn launch(port: u16, user: &str, password: &Secret) -> Program {
    let started = Program::start(|folder| {
        let (data, users) = (folder.join("data"), folder.join("htpasswd"));
        fs::create_dir(&data)?;
        fs::write(&users, htpasswd(user, password))?;
        let config = folder.join("config.yml");
        fs::write(&config, image_registry_config(&data, &users, port))?;
        let registry = DOCKER_REGISTRY.find().map_err(std::io::Error::other)?;
        let mut command = Command::new(registry);
        command.arg("serve").arg(config);
        Ok(command)
    });
    started.expect("docker-registry can be started")
}
