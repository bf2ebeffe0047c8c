# SPDX-License-Identifier: Apache-2.0
#
# Images as people run them, made of Debian packages: the system, then the program's packages, with the few files
# of a configuration. bench/workloads.sh says how each is started and what it answers.

from debian import ENV, layers
from tarwriter import DIR, FILE

NGINX = b"""worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
    include /etc/nginx/mime.types;
    access_log off;
    server {
        listen unix:/answer/socket;
        root /var/www/html;
        index index.nginx-debian.html;
    }
}
"""

C = b"""#include <math.h>
#include <stdio.h>

int main(void)
{
	double sum = 0;

	for (int i = 1; i <= 1000; i++)
		sum += sqrt(i);
	printf("%.3f\\n", sum);
	return 0;
}
"""

TEX = rb"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{libertine}
\usepackage{amsmath}
\begin{document}
\typeout{answer \the\numexpr 6*7\relax}
Six times seven is $\the\numexpr 6*7\relax$.
\end{document}
"""

# name -> packages, files of a configuration, what it is
WORKLOADS = {
    "redis": ("redis-server", {}, "redis"),
    "java": ("openjdk-17-jre-headless,rhino", {}, "OpenJDK 17 and a program for it"),
    "nginx": ("nginx-light", {"nginx.conf": NGINX}, "nginx"),
    "node": ("nodejs", {}, "node"),
    "postgres": ("postgresql-15", {"pg_hba.conf": b"local all all trust\n"}, "PostgreSQL 15 with an empty database"),
    "compiler": ("gcc,libc6-dev", {"sum.c": C}, "gcc"),
    "tex": ("texlive-latex-extra,texlive-fonts-extra", {"page.tex": TEX}, "TeX with its fonts, 2 GiB"),
}


def builder(name):
    packages, files, _ = WORKLOADS[name]

    def plant(out):
        out.add(b"answer/", DIR, mode=0o1777)
        out.add(b"etc/demo/", DIR, mode=0o755)
        for path, content in files.items():
            out.add(b"etc/demo/" + path.encode(), FILE, content)

    def build(layout):
        return layout.image(layers(layout, ["", packages], plant), config={"Env": ENV, "User": "0:0"})

    return build


IMAGES = {name: (builder(name), text + " (network)") for name, (*_, text) in WORKLOADS.items()}
