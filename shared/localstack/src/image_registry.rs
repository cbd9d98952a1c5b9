use std::path::Path;

use model::Secret;

use crate::tool::Tool;

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
