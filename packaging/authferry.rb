# Homebrew: https://docs.brew.sh/Formula-Cookbook
class Authferry < Formula
  desc "Keeps OAuth logins in the keychain and hands out access tokens that are valid"
  homepage "https://github.com/authferry/authferry"
  version "<<version>>"
  license "MIT"

  on_macos do
    on_arm do
      url "<<url "darwin" "arm64">>"
      sha256 "<<sha256 "darwin" "arm64">>"
    end
    on_intel do
      url "<<url "darwin" "amd64">>"
      sha256 "<<sha256 "darwin" "amd64">>"
    end
  end

  on_linux do
    on_arm do
      url "<<url "linux" "arm64">>"
      sha256 "<<sha256 "linux" "arm64">>"
    end
    on_intel do
      url "<<url "linux" "amd64">>"
      sha256 "<<sha256 "linux" "amd64">>"
    end
  end

  def install
    bin.install "authferry"
    man1.install "authferry.1"
    bash_completion.install "completion/authferry.bash" => "authferry"
    fish_completion.install "completion/authferry.fish"
    zsh_completion.install "completion/authferry.zsh" => "_authferry"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/authferry version")
  end
end
