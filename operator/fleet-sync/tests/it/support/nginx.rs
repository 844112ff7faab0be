//! A real nginx that serves a directory.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use url::Url;

use super::process;

/// Ends with this.
pub struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Serves `root`; keeps what it needs in `dir`.
pub fn serve(root: &Path, dir: &Path) -> (Nginx, Url) {
    let port = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (dir_text, root) = (dir.display(), root.display());
    let configuration = format!(
        "daemon off; master_process off; pid {dir_text}/pid; error_log {dir_text}/error.log;
         events {{}}
         http {{ access_log off; client_body_temp_path {dir_text}/b; proxy_temp_path {dir_text}/p; fastcgi_temp_path {dir_text}/f;
                 uwsgi_temp_path {dir_text}/u; scgi_temp_path {dir_text}/s;
                 server {{ listen 127.0.0.1:{port}; root {root}; }} }}"
    );
    std::fs::write(dir.join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(dir.join("nginx.conf"));
    let server = Nginx(process::spawn(&mut command));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    (server, url)
}
